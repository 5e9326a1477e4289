// A few threads that do what is too long for the thread that moves bytes: reading JSON, rendering, tokenizing.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace s3d::serve {

// Thread rule: any thread, any number at a time; the destructor after all others.
class WorkQueue {
 public:
  // At most `capacity` tasks wait.
  WorkQueue(int threads, size_t capacity);
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;
  ~WorkQueue();  // tasks that wait are dropped; those that run end first

  // False: the queue is full, and the task was not taken.
  bool post(std::function<void()> task);
  // The same for a task that continues an older one: always taken.
  void post_anyway(std::function<void()> task);

 private:
  void run();
  void add(std::function<void()> task);

  const size_t capacity_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;  // by mutex_
  bool stopping_ = false;                    // by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace s3d::serve
