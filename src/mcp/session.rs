//! The protocol: rmcp speaks both eras of it, that of `initialize` and that of `server/discover`.

use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, JsonObject,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::{RequestContext, RoleServer, ServerInitializeError};
use rmcp::{ErrorData, ServerHandler, ServiceExt};
use serde_json::Value;

use super::error::{Error, Result};
use super::roots::Roots;
use super::shelf::Shelf;
use super::tools::{Described, Loading, OpenIndex, call, described};

/// What agents are told before they call anything.
const INSTRUCTIONS: &str = "Exact quotations from the files below some folders. find_quotes answers a question with the words of a file, or says \
                            that the files do not answer it; read_lines shows what stands around them; verify_quote checks a quotation \
                            before you give it to anybody.";

/// One session.
struct Session {
    shelf: Arc<Shelf>,
    index: Arc<OpenIndex>,
    model: Loading,
    tools: Vec<Tool>,
}

/// Speaks over standard input and output until the input ends. The model may still be on its way.
pub fn serve(roots: Roots, index: Arc<OpenIndex>, model: Loading) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    let session = Session {
        shelf: Arc::new(Shelf::new(roots)),
        index,
        model,
        tools: described().into_iter().map(listed).collect(),
    };
    let broken = |reason: String| Error::Session { reason };
    let ended = runtime.block_on(async {
        let running = match session.serve(rmcp::transport::stdio()).await {
            Ok(running) => running,
            // Whoever started this has changed its mind.
            Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
            Err(error) => return Err(broken(error.to_string())),
        };
        running.waiting().await.map_err(|error| broken(error.to_string()))?;
        Ok(())
    });
    // A read of standard input may still wait, and nobody waits for that.
    runtime.shutdown_background();
    ended
}

fn listed(tool: Described) -> Tool {
    let Described { name, title, description, input, output } = tool;
    let hints = ToolAnnotations::with_title(title).read_only(true).idempotent(true).open_world(false);
    Tool::new(name, description, Arc::new(object(input)))
        .with_title(title)
        .with_raw_output_schema(Arc::new(object(output)))
        .with_annotations(hints)
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

impl ServerHandler for Session {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("spanqa", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.clone()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (shelf, index, model) = (self.shelf.clone(), self.index.clone(), self.model.clone());
        let name = request.name.clone();
        // It reads files and waits for the model; the session goes on meanwhile.
        let called = tokio::task::spawn_blocking(move || {
            call(&shelf, &*index, &model, &request.name, request.arguments.unwrap_or_default())
        });
        let result = match called.await {
            Ok(Some(Ok(found))) => {
                let text = ContentBlock::text(found.to_string());
                let mut result = CallToolResult::success(vec![text]);
                result.structured_content = Some(found);
                result
            }
            Ok(Some(Err(reason))) => CallToolResult::error(vec![ContentBlock::text(reason)]),
            Ok(None) => return Err(ErrorData::invalid_params(format!("there is no tool {name}"), None)),
            Err(_) => CallToolResult::error(vec![ContentBlock::text("the call failed inside")]),
        };
        Ok(result.into())
    }
}
