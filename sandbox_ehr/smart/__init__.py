"""The EHR's SMART authorization server: strict, so that an app that works here works elsewhere."""
