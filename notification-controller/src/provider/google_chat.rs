//! Google Chat (NC-GOOGLECHAT rows).

use serde_json::{Value, json};

use super::address::checked_briefly;
use super::send::Call;
use super::settings::{ConfigError, Settings};
use super::text::heading;
use crate::event::Event;

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    checked_briefly(settings, "Google Chat hook URL")?;
    let text = if event.is_error() {
        format!("<font color=\"#ff0000\">{}</font>", event.message)
    } else {
        event.message.clone()
    };
    let section = |widgets: Vec<Value>| json!({"header": "", "widgets": widgets});
    let paragraph = json!({"textParagraph": {"text": text}, "keyValue": null});
    let mut sections = vec![section(vec![paragraph])];
    if !event.metadata.is_empty() {
        let widgets = event.metadata.iter().map(|(key, value)| {
            json!({
                "textParagraph": null,
                "keyValue": {
                    "topLabel": key,
                    "content": value,
                    "contentMultiline": false,
                    "bottomLabel": null,
                    "icon": null,
                },
            })
        });
        sections.push(section(widgets.collect()));
    }
    let message = json!({
        "cards": [{
            "header": {
                "title": heading(event),
                "subtitle": event.reporting_controller,
                "imageUrl": null,
                "imageStyle": null,
            },
            "sections": sections,
        }],
    });
    Ok(vec![Call::post(&settings.address, &message)])
}
