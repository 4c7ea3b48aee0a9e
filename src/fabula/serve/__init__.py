"""Stories over HTTP, in the shapes of OpenAI's API; knows no terminal. Needs the extra `serve`."""
