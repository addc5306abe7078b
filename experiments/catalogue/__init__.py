"""The site's catalogue: a page for every kind of public name, and a picture of what each acquisition picks."""
