"""Read conversations: turn a record of any known shape into messages, a prompt and answers.

`shapes` is the table of known shapes, and finds the row of a record; a new shape is a new row. `names` has the names of
the fields that carry context. `messages` and `dialogues` read one field. `context` puts together the messages before an
answer. `answers` ranks answers. Commands call `pairs` and `prompts`.
"""
