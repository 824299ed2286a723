"""Flask, thin: parse, call one use case, render. No decision about coverage is made here."""
