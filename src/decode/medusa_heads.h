// What all sequences of one Medusa drafter share (docs/drafters.md has the formulas).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/side_matrix.h"
#include "base/index.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "decode/drafter.h"
#include "model/drafter_file.h"
#include "model/weights.h"

namespace s3d {

// Thread rule: one call at a time, and none while the backend runs.
class MedusaHeads : public DraftRunner {
 public:
  // Packs the parts of `file`, which must have been opened for `base` (open_medusa). `backend`, the base's, must
  // outlive it. Errors: a backend that multiplies nothing beside its model; out of memory.
  static Result<std::shared_ptr<MedusaHeads>> create(MedusaFile file, std::shared_ptr<const Model> base,
                                                     Backend& backend, ThreadPool& pool);

  int heads() const { return isize(parts_); }
  TokenId token(int index) const { return head_.ids.empty() ? index : head_.ids[static_cast<size_t>(index)]; }
  size_t vocab() const { return head_.rows(); }  // tokens that can be drafted
  size_t bytes() const;                          // of memory held

  // A pass of the first `heads` heads, a row for each, behind a row with that hidden state, [d_model] before the output
  // norm. `state` must stay until it has been run.
  DraftPass pass(std::span<const float> state, int heads);

  int max_rows() const override;
  // The heads' products are shared by all passes. Logits [rows, vocab].
  Result<PassOutput> run(std::span<const DraftPass* const> passes) override;

 private:
  // A row of a run: its head, and where the normed state is that the head reads.
  struct HeadRow {
    size_t head, state;
  };
  struct Part {
    SideMatrix weight, low, low_head;
    std::vector<float> bias;
  };
  MedusaHeads(MedusaFile file, std::shared_ptr<const Model> base, Backend& backend)
      : file_(std::move(file)), base_(std::move(base)), backend_(backend) {}

  static std::vector<size_t> rows_of(std::span<const HeadRow> rows, size_t head);
  void add_hidden(std::span<const HeadRow> rows, std::span<const float> normed, std::span<float> v);
  void add_low_rank(std::span<const HeadRow> rows, std::span<const float> v, std::span<float> out);

  MedusaFile file_;
  std::shared_ptr<const Model> base_;
  Backend& backend_;
  std::vector<float> norm_;  // [d_model] the base's output norm
  std::vector<Part> parts_;
  SideMatrix head_;
  std::vector<float> logits_;  // of the last run
};

}  // namespace s3d
