"""The payer's reviewers' workplace: the one part of the service where people sign in."""
