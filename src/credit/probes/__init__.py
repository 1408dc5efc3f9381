from credit.registry import Registry

registry = Registry("credit.probes", "probe")
