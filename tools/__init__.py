"""Commands that set up, run and render the course; no part of the library."""
