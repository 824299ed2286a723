"""Prior authorization on the provider's side (PAS), pure.

Signed orders and answers in, a request Bundle out; a response Bundle in, a decision in plain words out. Which payer it
is makes no difference.
"""
