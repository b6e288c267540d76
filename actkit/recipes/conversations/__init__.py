"""The one reader of conversations: how a record of any known shape becomes messages, a prompt and answers.

`shapes` is the table of the known shapes, to which a newcomer adds a row, and finds the row of a record.
`names` has the names of the fields that carry context. `messages` and `dialogues` read one field. `context` puts
together what stands before an answer. `answers` tells the better answer from the worse one. Commands call `pairs` and
`prompts`.
"""
