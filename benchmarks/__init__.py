"""Speed and memory of the library beside what a user would otherwise pick, in one run."""
