"""A server on the local machine that speaks the protocols of OpenAI, Anthropic, llama.cpp and Ollama.

Data flows one way. A protocol's file reads a request into the form that all share (`requests.py`);
`preparation.py` makes prompts of it, `answer_run.py` lets the model answer in threads and gives events
(`answer_events.py`) to the event loop; the protocol's file writes these as its own. app.py: all routes.
service.py: what routes share. admission.py: slots and the queue. guard.py: who may ask. listening.py,
connection.py: sockets, and clients that are slow. running.py: a server's life and its end. log.py: the log.
"""
