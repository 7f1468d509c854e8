// A page that was opened from a file may not read others, which is where the excerpts below the results come from.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
