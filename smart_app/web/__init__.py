"""The app's pages, and what protects them."""
