"""Tokenize texts and chats into token sequences with character spans and roles."""
