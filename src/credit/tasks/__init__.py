from credit.registry import Registry

registry = Registry("credit.tasks", "task")
