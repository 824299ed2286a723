-- wrk script: POST prepared variants of one order-sign request, each with its own hookInstance, patient and token.
-- PIECES: file whose records (length line, bytes) alternate with the patient id; BEARERS: one token a line, or absent;
-- FIRST: number of the first variant; SAMPLES: file that receives every 100th answer as (length line, bytes).
local function records(path)
  local file, list = assert(io.open(path, "rb")), {}
  while true do
    local length = file:read("*n", "*l")
    if not length then break end
    list[#list + 1] = file:read(length)
    file:read("*l")
  end
  return list
end

local pieces = records(os.getenv("PIECES"))
local bearers = {}
if os.getenv("BEARERS") then
  for line in io.lines(os.getenv("BEARERS")) do bearers[#bearers + 1] = line end
end
local number = tonumber(os.getenv("FIRST") or "0")
local path = os.getenv("TARGET")
local samples = assert(io.open(os.getenv("SAMPLES"), "wb"))
local answered = 0

request = function()
  number = number + 1
  local patient = string.format("pat-%06d", number % 1000000)
  local instance = string.format("%08x-0000-4000-8000-%012x", number, number)
  local parts = { pieces[1], instance }
  for i = 2, #pieces do
    parts[#parts + 1] = pieces[i]
    if i < #pieces then parts[#parts + 1] = patient end
  end
  local headers = { ["Content-Type"] = "application/json" }
  if #bearers > 0 then headers["Authorization"] = "Bearer " .. bearers[(number - 1) % #bearers + 1] end
  return wrk.format("POST", path, headers, table.concat(parts))
end

local failed = 0
response = function(status, _, body)
  answered = answered + 1
  if status ~= 200 then failed = failed + 1 end
  if status ~= 200 or answered % 100 == 0 then
    if failed < 100 then samples:write(status, " ", #body, "\n", body, "\n") samples:flush() end
  end
end

done = function(summary, latency)
  io.write(string.format("RESULT requests=%d seconds=%.3f p50_ms=%.2f p99_ms=%.2f max_ms=%.2f errors=%d\n",
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    latency.max / 1000, summary.errors.status + summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout))
end
