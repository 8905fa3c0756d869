"""One trainer for pretraining and fine-tuning, and PPO in `rl`: DeepSpeed, from two CPU cores to a cluster."""
