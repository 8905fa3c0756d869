"""Reinforcement learning: PPO with a critic, verifiable rewards, rollouts on Ray actors (report, section 3.2)."""
