"""The app inside the EHR: asks the clinician what the chart did not say, saves the answers, submits the request.

It speaks to payers only through their public DTR and PAS interfaces, so it works with any payer's server.
"""

__version__ = "0.1.0"
