//! What an analysis cost stands in its provenance, and what was wasted apart.

use std::collections::BTreeMap;

use jiff::civil::date;
use ocelli_core::FailureClass;
use ocelli_llm::{LlmOptions, Price, Prices, Protocol};
use ocelli_testkit::models::Behaviour;
use ocelli_worker::Analyzer;

use crate::harness::{BOTH, analyzer, counted_analyzer, job, options, server};

fn prices() -> Prices {
    let price = |since, input_per_million, output_per_million| Price {
        since,
        input_per_million,
        output_per_million,
    };
    // The second price is not yet in force, whenever this test runs.
    let table = vec![price(date(2020, 1, 1), 0.5, 2.0), price(date(9000, 1, 1), 1000.0, 1000.0)];
    Prices { currency: "EUR".to_owned(), table }
}

#[tokio::test]
async fn an_analysis_holds_its_cost_and_the_part_that_was_wasted() {
    for protocol in BOTH {
        let server = server(protocol, Behaviour::Answer).await;
        server.script([Behaviour::Repeats]);
        let priced = LlmOptions { prices: prices(), ..options(protocol, &[&server]) };
        let (analyzer, registry) = counted_analyzer(priced);
        let provenance = analyzer.analyze(job(1)).await.unwrap().provenance;
        let (read, written) = (provenance.tokens_in.unwrap(), provenance.tokens_out.unwrap());
        assert_eq!((provenance.calls, server.calls()), (2, 2));
        let cost = provenance.cost_micros.unwrap();
        let exact = read as f64 * 0.5 + written as f64 * 2.0;
        assert!((cost as f64 - exact).abs() <= 1.0, "{cost} for {exact}");
        assert_eq!(provenance.currency.as_deref(), Some("EUR"));
        assert!(provenance.wasted_tokens > 300 && provenance.wasted_tokens < read + written);
        assert!(provenance.wasted_cost_micros > 0 && provenance.wasted_cost_micros < cost);
        let counted: BTreeMap<_, _> = registry
            .gather()
            .iter()
            .filter(|family| family.name() == "ocelli_llm_cost_total")
            .map(|family| {
                let metric = &family.get_metric()[0];
                (metric.get_label()[1].value().to_owned(), metric.get_counter().get_value())
            })
            .collect();
        assert!((counted["EUR"] - cost as f64 / 1e6).abs() < 1e-9, "{counted:?}");
    }
}

#[tokio::test]
async fn what_came_to_nothing_is_waste_as_a_whole() {
    let server = server(Protocol::OpenAi, Behaviour::Empty).await;
    let priced = LlmOptions { prices: prices(), ..options(Protocol::OpenAi, &[&server]) };
    let error = analyzer(priced).analyze(job(1)).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Quality);
    let provenance = error.provenance.unwrap();
    assert_eq!(provenance.calls, 3);
    let tokens = provenance.tokens_in.unwrap() + provenance.tokens_out.unwrap();
    assert_eq!(provenance.wasted_tokens, tokens);
    assert_eq!(Some(provenance.wasted_cost_micros), provenance.cost_micros);
}

#[tokio::test]
async fn a_bad_answer_before_a_failure_is_waste() {
    let server = server(Protocol::Ollama, Behaviour::ServerError).await;
    server.script([Behaviour::Empty]);
    let priced = LlmOptions { prices: prices(), ..options(Protocol::Ollama, &[&server]) };
    let error = analyzer(priced).analyze(job(1)).await.unwrap_err();
    let provenance = error.provenance.unwrap();
    assert_eq!((error.class, provenance.calls), (FailureClass::Transient, 1));
    assert!(provenance.wasted_tokens > 300, "{provenance:?}");
    assert_eq!(Some(provenance.wasted_cost_micros), provenance.cost_micros);
}

#[tokio::test]
async fn without_prices_an_analysis_holds_its_tokens_and_no_cost() {
    let server = server(Protocol::Ollama, Behaviour::Answer).await;
    let answer = analyzer(options(Protocol::Ollama, &[&server])).analyze(job(1)).await.unwrap();
    let provenance = answer.provenance;
    assert!(provenance.tokens_in > Some(300));
    assert_eq!((provenance.calls, provenance.wasted_tokens), (1, 0));
    assert_eq!((provenance.cost_micros, provenance.currency), (None, None));
}

/// From one day on, so much for a million tokens of either kind.
fn flat(price: f64) -> Prices {
    let since = date(2020, 1, 1);
    let table = vec![Price { since, input_per_million: price, output_per_million: price }];
    Prices { currency: "EUR".to_owned(), table }
}

#[tokio::test]
async fn each_call_costs_what_its_endpoint_costs() {
    for protocol in BOTH {
        let (paid, dear) =
            (server(protocol, Behaviour::Answer).await, server(protocol, Behaviour::Answer).await);
        let mut options = LlmOptions { prices: flat(1.0), ..options(protocol, &[&paid, &dear]) };
        options.endpoints[1].prices = Some(flat(100.0));
        let analyzer = analyzer(options);
        let mut costs: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for number in 0..8 {
            let how = analyzer.analyze(job(number)).await.unwrap().provenance;
            let tokens = how.tokens_in.unwrap() + how.tokens_out.unwrap();
            let each = how.cost_micros.unwrap() / tokens;
            costs.entry(how.endpoint.unwrap()).or_default().push(each);
            if number == 3 {
                paid.go_down();
            }
        }
        assert!(costs[paid.url().as_str()].iter().all(|each| *each == 1), "{costs:?}");
        assert!(costs[dear.url().as_str()].iter().all(|each| *each == 100), "{costs:?}");
    }
}

#[tokio::test]
async fn an_endpoint_without_a_price_has_tokens_and_no_cost() {
    let own = server(Protocol::Ollama, Behaviour::Answer).await;
    let mut options = LlmOptions { prices: flat(1.0), ..options(Protocol::Ollama, &[&own]) };
    options.endpoints[0].prices = Some(Prices::default());
    let how = analyzer(options).analyze(job(1)).await.unwrap().provenance;
    assert!(how.tokens_in > Some(300));
    assert_eq!((how.cost_micros, how.currency), (None, None));
}
