"""From values to text: templates, kernel-argument lists and the quoting rules of each reader.

Import from the modules: `arguments`, `quoting`, `templates`. jinja2 itself is loaded by the first rendering only, so
that reading a lab file does not pay for it.
"""
