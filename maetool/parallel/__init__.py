"""Models over several processes: sharding, and what is done block by block."""
