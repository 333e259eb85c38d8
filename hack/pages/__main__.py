"""Write the generated pages."""

from pages import metrics, settings, values

if __name__ == "__main__":
    metrics.PAGE.write_text(metrics.render_metrics(), encoding="utf-8")
    settings.PAGE.write_text(settings.render_settings(), encoding="utf-8")
    values.PAGE.write_text(values.render_readme(), encoding="utf-8")
