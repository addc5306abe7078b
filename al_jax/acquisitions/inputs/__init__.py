"""Methods that look at how predictions change with the inputs."""
