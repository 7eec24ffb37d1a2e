"""What several adapters need, and the engine too. Each module stands alone; none knows of settings or of an adapter."""
