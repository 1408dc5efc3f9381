from credit.config.registry import Registry

registry = Registry("credit.bench", "benchmark")
