//! What a plan would take, before anything moves: requests and time until each guardrail can decide, from what recent
//! traffic shows.

use ensign_control::ids::{FlagId, Place};
use ensign_control::rollout::{Plan, Traffic, predict, render_prediction};
use serde_json::{Value, json};

use crate::App;

/// A plan with its prediction, as data and as text. `sentences` are those of the start it describes.
pub(crate) async fn plan(app: &App, place: &Place, plan: &Plan, sentences: Vec<String>) -> Value {
    let flag = FlagId::of(place, &plan.flag);
    let mut baselines = Vec::with_capacity(plan.guards.len());
    for guard in &plan.guards {
        let metric = guard.guard.metric.clone();
        baselines.push(app.pipeline.baseline(flag, plan.control.variant, metric).await);
    }
    // Every request feeds the rates, so the busiest metric shows how many requests there are.
    let per_second = baselines.iter().flatten().map(|baseline| baseline.per_second).max_by(f64::total_cmp);
    let prediction = predict(plan, &Traffic { per_second, baselines });
    let text = render_prediction(plan, &prediction);
    json!({ "sentences": sentences, "plan": plan, "prediction": prediction, "text": text })
}
