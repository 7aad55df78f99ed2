"""A model behind an OpenAI-compatible chat-completions endpoint, as the writer of attempts."""
