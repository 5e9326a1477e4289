// Who is next where many clients wait: clients take turns, whatever each of them has sent.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <list>
#include <optional>
#include <string>
#include <utility>

#include "base/index.h"

namespace s3d::serve {

// A queue of `T` of several clients. One turn of a client is one item; its items come in their order. Thread rule: one
// call at a time.
template <typename T>
class FairQueue {
 public:
  void push(const std::string& client, T item) {
    ++size_;
    const auto at = find(client);
    if (at != turns_.end()) return at->items.push_back(std::move(item));
    turns_.push_back({client, {}});
    turns_.back().items.push_back(std::move(item));
  }

  // The first item of the client whose turn it is. Not empty.
  T pop() {
    Turn turn = std::move(turns_.front());
    turns_.pop_front();
    T item = std::move(turn.items.front());
    turn.items.pop_front();
    if (!turn.items.empty()) turns_.push_back(std::move(turn));
    --size_;
    return item;
  }

  // Makes room for one more item of `client`, which has `more` items beside those that are here: the last item of the
  // client with the most items, if that one has at least two more. Nothing: `client` has its share already. push() for
  // its client undoes it.
  struct Displaced {
    std::string client;
    T item;
  };
  std::optional<Displaced> displace(const std::string& client, size_t more = 0) {
    const auto most = std::max_element(turns_.begin(), turns_.end(),
                                       [](const Turn& a, const Turn& b) { return a.items.size() < b.items.size(); });
    if (most == turns_.end() || most->items.size() < waiting(client) + more + 2) return {};
    Displaced displaced{most->client, std::move(most->items.back())};
    most->items.pop_back();
    --size_;
    return displaced;
  }

  // Takes out the item that fits; nothing: none does.
  template <typename Fits>
  std::optional<T> remove(const Fits& fits) {
    for (auto turn = turns_.begin(); turn != turns_.end(); ++turn) {
      const auto at = std::find_if(turn->items.begin(), turn->items.end(), fits);
      if (at == turn->items.end()) continue;
      T item = std::move(*at);
      turn->items.erase(at);
      if (turn->items.empty()) turns_.erase(turn);
      --size_;
      return item;
    }
    return {};
  }

  int size() const { return size_; }
  size_t waiting(const std::string& client) const {
    const auto at = std::find_if(turns_.begin(), turns_.end(), [&](const Turn& turn) { return turn.client == client; });
    return at == turns_.end() ? 0 : at->items.size();
  }
  template <typename Visit>
  void for_each(const Visit& visit) const {
    for (const Turn& turn : turns_) {
      for (const T& item : turn.items) visit(item);
    }
  }

 private:
  struct Turn {
    std::string client;
    std::deque<T> items;  // never empty
  };
  typename std::list<Turn>::iterator find(const std::string& client) {
    return std::find_if(turns_.begin(), turns_.end(), [&](const Turn& turn) { return turn.client == client; });
  }

  std::list<Turn> turns_;  // the next one first
  int size_ = 0;
};

}  // namespace s3d::serve
