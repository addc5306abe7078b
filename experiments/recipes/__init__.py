"""Papers, as tables of arms."""
