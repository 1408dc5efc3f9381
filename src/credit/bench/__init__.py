from credit.registry import Registry

registry = Registry("credit.bench", "benchmark")
