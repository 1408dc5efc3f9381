from credit.registry import Registry

registry = Registry("credit.methods", "method")
