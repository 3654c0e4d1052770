"""Conversations: chat templates, the prompts made of them, and the messages of a chat."""
