"""What a task of reinforcement learning is made of: environments, replay, running statistics, exploration."""
