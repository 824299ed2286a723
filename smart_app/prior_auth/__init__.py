"""What a request for prior authorization goes through: made, sent, heard of, changed, taken back."""
