"""What a launch's forms go through: found, opened, filled in, saved."""
