"""Many samples in one file: archives, shards, and databases; and what reading them shares."""
