"""Which tasks of MiniWoB++ are for evaluation: none of their episodes become samples by default."""

HELD_OUT = (
    "buy-ticket", "choose-date-medium", "click-checkboxes-soft", "click-collapsible-2-nodelay", "click-menu-2",
    "click-tab-2-hard", "drag-sort-numbers", "email-inbox-forward-nl-turk", "enter-time", "find-word",
    "login-user-popup", "multi-orderings", "navigate-tree", "search-engine", "social-media-some", "use-slider-2",
)  # fmt: skip
"""Tasks. Others have kin among those that are recorded, with other words, sizes or one more turn."""
