"""Text and chats become token sequences with character spans and roles."""
