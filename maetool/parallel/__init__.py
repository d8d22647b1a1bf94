"""Models on several processes: sharding, activation checkpointing and compilation by block."""
