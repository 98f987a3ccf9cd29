"""The machine: device, threads, memory, stop requests, and what is known of the environment."""
