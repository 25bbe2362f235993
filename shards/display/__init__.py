"""What both programs show with: pages, charts, tables, wording, colours, drawn frames."""
