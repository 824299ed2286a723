"""SMART App Launch 2.x, the app's side: discovery, authorization, tokens, identity."""
