"""A listener that writes down what a person is told of work under way."""

from headstart.progress import Silent


class Notes(Silent):
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def note(self, token, text):
        self.said.append(text)
