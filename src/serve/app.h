// The routes of the server: from an HTTP request to the handler that answers it.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "http/server.h"
#include "serve/call.h"
#include "serve/routes.h"

namespace s3d::serve {

struct Route {
  std::string_view method;
  std::string_view path;  // may hold one "{id}", which takes the rest of the path
  Dialect dialect;        // of errors
  RouteHandler handler;
  bool quick = false;  // answers at once on the server's thread: it must work when everything else is busy
};

// All routes; docs/serving.md describes them.
std::span<const Route> routes();

// The routes with what they share. Thread rule: handle() by any thread; the destructor after all others.
class App {
 public:
  // `models` must outlive it.
  App(ModelDirectory& models, AppOptions options);
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  // Never blocks. Unknown path: 404; known path with another method: 405.
  void handle(http::Request request, std::shared_ptr<http::Responder> responder);

 private:
  AppOptions options_;
  Statistics statistics_;
  WorkQueue work_;
  WorkQueue downloads_;
  PingTimer pings_;
  Services services_;
};

}  // namespace s3d::serve
