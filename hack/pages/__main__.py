"""Write the generated pages."""

from pages.settings import PAGE, render_settings

if __name__ == "__main__":
    PAGE.write_text(render_settings(), encoding="utf-8")
