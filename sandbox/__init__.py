"""A Discord small enough to own: a server that a real bot talks to, and people who talk to the bot.

It knows nothing of Ovid's other packages; it starts their programs and speaks HTTP and WebSocket.
"""
