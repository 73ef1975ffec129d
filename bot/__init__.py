"""The bot: people's messages in, labelled messages out. It has no model and no tokenizer."""
