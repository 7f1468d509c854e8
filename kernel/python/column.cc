// Making columns: from files, from other columns, and from other rows of the same files.

#include "column.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <string_view>

#include "batch.h"
#include "files.h"
#include "parts.h"

namespace mmap_ninja {
namespace {

using MapPtr = std::shared_ptr<Mapping>;

SampleKind kind_of(const std::string& name) {
  if (name == "text") return SampleKind::text;
  if (name == "binary") return SampleKind::binary;
  if (name == "record") return SampleKind::record;
  return name == "array" ? SampleKind::array : SampleKind::ragged;
}

const char* name_of(SampleKind kind) {
  constexpr const char* kNames[] = {"text", "binary", "array", "ragged", "record"};
  return kNames[static_cast<size_t>(kind)];
}

uint64_t rows_size(const std::string& path, uint64_t rows, uint64_t unit) {
  uint64_t size;
  if (__builtin_mul_overflow(rows, unit, &size) || size > INT64_MAX)
    raise({.code = Code::overflow, .what = "dataset"}, path);
  return size;
}

uint64_t sizes_size(uint64_t rows) { return rows * sizeof(uint32_t); }

uint64_t offsets_size(uint64_t rows) { return (rows + 1) * sizeof(uint64_t); }

Index offsets_index(MapPtr offsets) { return {offsets, offsets, sizeof(uint64_t)}; }

// The files of a new column, with their names in errors.
class Files {
 public:
  Files(nb::dict files, Access access, const std::string& path) : access_(access), path_(path) {
    for (auto [name, file] : files) {
      auto [of, size] = nb::cast<std::pair<PyFile, uint64_t>>(file);
      files_.push_back({nb::cast<const char*>(name), of.file, size});
    }
  }

  bool has(std::string_view name) const { return find(name) != files_.end(); }
  uint64_t size(std::string_view name) const { return has(name) ? find(name)->size : 0; }

  // `needed`: bytes that the rows need. `name`: a literal.
  MapPtr map(const char* name, uint64_t needed) const {
    auto file = find(name);
    if (file == files_.end()) raise(nb::borrow(PyExc_TypeError), path_ + ": expected a file for its " + name);
    if (needed > file->size)
      raise({.code = Code::short_file, .what = name, .found = file->size, .expected = needed}, path_);
    MapPtr mapping;
    bool is_kept = access_ == Access::pread || (file->name == "data" && Mapping::may_keep_file());
    check(is_kept ? Mapping::open(file->file, file->size, access_, name, &mapping)
                  : Mapping::open_alone(file->file, file->size, name, &mapping),
          path_);
    return mapping;
  }

 private:
  struct File {
    std::string_view name;
    std::shared_ptr<mmap_ninja::File> file;
    uint64_t size;
  };

  std::vector<File>::const_iterator find(std::string_view name) const {
    return std::find_if(files_.begin(), files_.end(), [&](const File& file) { return file.name == name; });
  }

  std::vector<File> files_;
  Access access_;
  const std::string& path_;
};

Spans spans_of(const Files& files, uint64_t rows, uint64_t unit, const std::string& path);
Shapes shapes_of(const Files& files, uint64_t rows, ShapeForm form, uint64_t width, const std::string& path);

ColumnPtr made(Column column) { return std::make_shared<const Column>(std::move(column)); }

Access access_of(bool mapped) { return mapped ? Access::map : Access::pread; }

std::shared_ptr<const Layout> layout_of(std::string path, nb::object dtype, const std::vector<int64_t>& shape,
                                        const std::vector<npy_intp>& strides) {
  if ((!dtype.is_none() && !PyArray_DescrCheck(dtype.ptr())) || shape.size() > kMaxRank)
    raise(nb::borrow(PyExc_TypeError), "expected a dtype and a shape");
  Layout layout{std::move(path), std::move(dtype), {}, strides};
  layout.shape.rank = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), layout.shape.dims.begin());
  return std::make_shared<const Layout>(std::move(layout));
}

// A column from files; without files it is empty.
void make(Reader* self, const std::string& kind, std::string path, uint64_t rows, nb::dict files,
          uint64_t unit, nb::object dtype, const std::vector<int64_t>& shape,
          const std::vector<npy_intp>& strides, int shape_form, uint64_t shape_width, nb::object codec,
          nb::object wrapper, const PyEdits* edits, bool copies, bool mapped) {
  Column column;
  column.layout = layout_of(std::move(path), std::move(dtype), shape, strides);
  const Layout& layout = *column.layout;
  column.kind = kind_of(kind);
  column.access = access_of(mapped);
  column.is_direct = mapped;
  column.copies = copies;
  column.rows = edits ? RowMap(rows, edits->edits) : RowMap(rows);
  column.wrapper = std::move(wrapper);
  if (rows && column.kind >= SampleKind::array && layout.dtype.is_none())
    raise(nb::borrow(PyExc_TypeError), layout.path + ": expected a dtype for arrays");
  Files found(files, column.access, layout.path);
  if (rows && !found.has("data"))
    raise(nb::borrow(PyExc_TypeError), layout.path + ": expected a data file for the rows");
  column.part.stored = rows;
  column.part.spans = spans_of(found, rows, unit, layout.path);
  column.part.shapes = shapes_of(found, rows, static_cast<ShapeForm>(shape_form), shape_width, layout.path);
  if (found.has("nulls")) column.part.nulls = found.map("nulls", rows);
  if (!codec.is_none()) column.part.frames.codec = codec_of(codec);
  if (found.has("sizes")) column.part.frames.sizes = found.map("sizes", sizes_size(rows));
  column.renew_views();
  new (self) Reader{made(std::move(column))};
}

Index index_of(const Files& files, uint64_t rows);

Spans spans_of(const Files& files, uint64_t rows, uint64_t unit, const std::string& path) {
  if (!files.has("data")) return {nullptr, 0, 0, {}};
  Index index = index_of(files, rows);
  uint64_t needed = index.starts ? 0 : rows_size(path, rows, unit);
  return {files.map("data", needed), files.size("data"), unit, std::move(index)};
}

// Where rows of any size start and end. Directories of 0.x have two files for this.
Index index_of(const Files& files, uint64_t rows) {
  if (files.has("offsets")) return offsets_index(files.map("offsets", offsets_size(rows)));
  if (!files.has("starts")) return {};
  uint64_t size = rows * sizeof(uint64_t);
  return {files.map("starts", size), files.map("ends", size), 0};
}

// The shapes of ragged rows: `width` numbers each, or a span of numbers in directories of 0.x.
Shapes shapes_of(const Files& files, uint64_t rows, ShapeForm form, uint64_t width, const std::string& path) {
  if (!files.has("shapes")) return {form, {nullptr, 0, 0, {}}};
  if (!files.has("starts of shapes")) {
    uint64_t unit = width * sizeof(uint64_t), size = rows_size(path, rows, unit);
    return {form, {files.map("shapes", size), size, unit, {}}};
  }
  uint64_t size = rows * sizeof(uint64_t);
  Index index{files.map("starts of shapes", size), files.map("ends of shapes", size), 0};
  return {form, {files.map("shapes", 0), files.size("shapes"), sizeof(uint64_t), std::move(index)}};
}

// Samples of several datasets, of which only these properties are known before they are opened.
Reader joined(const std::string& kind, std::string path, const std::vector<uint64_t>& counts, nb::object open,
              uint64_t unit, nb::object dtype, const std::vector<int64_t>& shape, int shape_form,
              uint64_t shape_width, bool nullable) {
  Column column;
  column.kind = kind_of(kind);
  column.part.spans = {nullptr, 0, unit, {}};
  column.part.shapes = {static_cast<ShapeForm>(shape_form), {nullptr, 0, shape_width * sizeof(uint64_t), {}}};
  column.layout = layout_of(std::move(path), std::move(dtype), shape, {});
  join(column, counts, std::move(open), nullable);
  return {made(std::move(column))};
}

// Records of columns with the same rows, each with the keys of the nested dicts that lead to it.
Reader of_records(std::string path, const std::vector<std::pair<nb::tuple, const Reader*>>& columns,
                  const PyEdits* edits, bool copies, bool mapped) {
  auto fields = std::make_shared<Fields>();
  fields->groups.push_back({0, nb::none(), 0});
  nb::dict groups;
  for (const auto& [keys, of] : columns) {
    if (!of || of->column->fields || keys.size() == 0)
      raise(nb::borrow(PyExc_TypeError), path + ": expected columns, each with its keys");
    size_t group = 0, depth = keys.size() - 1;
    nb::tuple above;
    for (size_t level = 0; level < depth; ++level) {
      above = nb::tuple(above + nb::make_tuple(keys[level]));
      if (!groups.contains(above)) {
        groups[above] = fields->groups.size();
        fields->groups.push_back({group, nb::borrow(keys[level]), fields->fields.size()});
      }
      group = nb::cast<size_t>(groups[above]);
    }
    fields->fields.push_back({group, nb::borrow(keys[depth]), of->column, {}});
  }
  Column column =
      records_of(std::make_shared<const Layout>(Layout{.path = std::move(path)}), std::move(fields));
  column.access = access_of(mapped);
  column.copies = copies;
  if (edits) column.rows = RowMap(column.rows.count(), edits->edits);
  return {made(std::move(column))};
}

// ---- private maps

// Whether this is so for the private map of a column, or for one of those of records.
template <typename Test>
bool any_views(const Column& column, Test test) {
  // Records of several parts have both: single samples are arrays of the columns, runs of them those of the
  // records.
  if (column.parts) {
    for (size_t k = 0; k < column.parts->ends().size(); ++k)
      if (const Column* part = column.parts->opened(k); part && any_views(*part, test)) return true;
  }
  if (!column.fields) return column.part.views && test(*column.part.views);
  const auto& fields = column.fields->fields;
  return std::any_of(fields.begin(), fields.end(),
                     [&](const auto& field) { return any_views(*field.column, test); });
}

// The same column, whose arrays start on private maps that nothing was written to.
Column renewed(const Column& column) {
  Column copy = column;
  copy.renew_views();
  if (column.parts) copy.parts = column.parts->renewed();
  if (!column.fields) return copy;
  auto fields = std::make_shared<Fields>(*column.fields);
  for (Fields::Field& field : fields->fields) field.column = made(renewed(*field.column));
  copy.fields = std::move(fields);
  if (column.parts) copy.parts = parts_of(copy);
  return copy;
}

// ---- other rows of the same files

// `count` samples, at the positions start, start + step, ...
Reader selected_range(const Reader& reader, int64_t start, int64_t step, uint64_t count) {
  const Column& seen = *reader.column;
  if (count == 0) return with_rows(seen, RowMap(0));
  int64_t last = start + step * static_cast<int64_t>(count - 1),
          rows = static_cast<int64_t>(seen.rows.count());
  if (std::min(start, last) < 0 || std::max(start, last) >= rows)
    raise({.code = Code::row_range, .found = static_cast<uint64_t>(last), .expected = seen.rows.count()},
          seen.path());
  return with_rows(seen, seen.rows.select(start, step, count));
}

Reader selected(const Reader& reader, nb::handle indices) {
  ColumnPtr seen = reader.column;
  std::vector<uint64_t> chosen = rows_of(*seen, indices);
  std::shared_ptr<int64_t[]> rows(new int64_t[chosen.size()]);
  std::copy(chosen.begin(), chosen.end(), rows.get());
  return with_rows(*seen, RowMap(chosen.size(), std::move(rows)));
}

// One column of records, with their rows.
Reader field(const Reader& reader, size_t place) {
  const Column& seen = *reader.column;
  if (!seen.fields || place >= seen.fields->fields.size())
    raise(nb::borrow(PyExc_IndexError), seen.path() + ": has no column " + std::to_string(place));
  return with_rows(*seen.fields->fields[place].column, seen.rows);
}

// The same samples without the wrapper.
Column unwrapped(const Column& seen) {
  Column column = seen;
  column.wrapper = nb::none();
  column.copies = false;
  if (seen.parts)
    column.parts = seen.parts->changed([](const Column& part) { return made(unwrapped(part)); });
  return column;
}

// ---- the same files at a later commit

// Maps the file again only if it has outgrown its reservation.
MapPtr grown(const std::string& path, const MapPtr& mapping, uint64_t size) {
  MapPtr result = mapping;
  if (mapping) check(size > mapping->capacity() ? mapping->reopen(size, &result) : mapping->grow(size), path);
  return result;
}

void grow(Column& column, uint64_t payload_size, uint64_t rows) {
  const std::string& path = column.path();
  Part& part = column.part;
  auto grow_spans = [&](const Spans& spans, uint64_t size) -> Spans {
    Index index = spans.index();
    if (index.starts) index = offsets_index(grown(path, index.starts, offsets_size(rows)));
    return {grown(path, spans.payload(), size), size, spans.unit(), std::move(index)};
  };
  part.stored = rows;
  Spans spans = grow_spans(part.spans, payload_size);
  // The private map stays, too, unless a batch outgrows its reservation.
  bool keeps_views =
      spans.payload() == part.spans.payload() && part.views && part.views->covers(payload_size);
  part.spans = std::move(spans);
  if (keeps_views) {
    part.views->grow(payload_size);
  } else {
    column.renew_views();
  }
  const Spans& shapes = part.shapes.spans();
  if (shapes.payload())
    part.shapes = {part.shapes.form(), grow_spans(shapes, rows_size(path, rows, shapes.unit()))};
  if (part.frames.codec) part.frames.sizes = grown(path, part.frames.sizes, sizes_size(rows));
  part.nulls = grown(path, part.nulls, rows);
}

ColumnPtr grown(const Column& seen, uint64_t payload_size, uint64_t rows, RowMap map) {
  Column column = seen;
  column.rows = std::move(map);
  grow(column, payload_size, rows);
  return made(std::move(column));
}

PyObject* iterate(PyObject* self) {
  if (!nb::inst_ready(self)) [[unlikely]] {
    PyErr_SetString(PyExc_ValueError, "the column was not initialised");
    return nullptr;
  }
  return new_iterator(*nb::inst_ptr<Reader>(self));
}

// ---- properties of a column for Python

// The rank of all ragged samples, if the way their shapes are stored determines it.
nb::object rank_of_all(const Reader& reader) {
  const Shapes& shapes = reader.column->part.shapes;
  switch (shapes.form()) {
    case ShapeForm::scalar:
      return nb::int_(0);
    case ShapeForm::flat:
      return nb::int_(1);
    case ShapeForm::rows:
      return nb::int_(shapes.spans().unit() / sizeof(uint64_t));
    default:
      return nb::none();
  }
}

nb::tuple sample_shape(const Reader& reader) {
  const Shape& shape = reader.column->layout->shape;
  nb::list extents;
  for (int k = 0; k < shape.rank; ++k) extents.append(shape.dims[static_cast<size_t>(k)]);
  return nb::tuple(extents);
}

}  // namespace

void Column::renew_views() {
  if (!part.spans.payload()) return;
  bool in_order = layout->strides.empty();  // otherwise each sample may reach to the end
  part.views = std::make_shared<Views>(part.spans.payload(), in_order ? part.spans.payload_size() : 0);
}

Column records_of(std::shared_ptr<const Layout> layout, std::shared_ptr<const Fields> fields) {
  Column column;
  column.kind = SampleKind::record;
  column.is_direct = false;
  column.layout = std::move(layout);
  column.fields = std::move(fields);
  if (column.fields->fields.empty()) return column;
  const Column& first = *column.fields->fields[0].column;
  column.access = first.access;
  column.copies = first.copies;
  column.rows = first.rows;
  column.parts = parts_of(column);
  return column;
}

Reader with_rows(const Column& seen, RowMap rows) {
  Column column = renewed(seen);
  column.rows = std::move(rows);
  return {made(std::move(column))};
}

ColumnPtr fresh(const ColumnPtr& column) {
  if (!any_views(*column, [](const Views& views) { return views.are_given_out(); })) return column;
  // An iterator in progress keeps its map, which may still be written to.
  bool is_shared = column.use_count() > 1;
  if (!is_shared && !any_views(*column, [](const Views& views) { return views.are_written(); }))
    return column;
  return made(renewed(*column));
}

ColumnPtr without_written(const ColumnPtr& column, uint64_t bytes) {
  bool is_written = any_views(*column, [&](const Views& views) { return views.are_written_lately(bytes); });
  return is_written ? made(renewed(*column)) : column;
}

ColumnPtr grown(const ColumnPtr& column, const std::vector<uint64_t>& payload_sizes, uint64_t rows,
                const PyEdits& edits) {
  RowMap map(rows, edits.edits);
  if (payload_sizes.size() != (column->fields ? column->fields->fields.size() : 1))
    raise(nb::borrow(PyExc_ValueError), column->path() + ": expected a size for each column");
  if (!column->fields) return grown(*column, payload_sizes[0], rows, std::move(map));
  auto fields = std::make_shared<Fields>(*column->fields);
  for (size_t k = 0; k < fields->fields.size(); ++k) {
    ColumnPtr& of_field = fields->fields[k].column;
    of_field = grown(*of_field, payload_sizes[k], rows, RowMap(rows));
  }
  Column records = *column;
  records.rows = std::move(map);
  records.fields = std::move(fields);
  return made(std::move(records));
}

void define_columns(nb::module_& m) {
  static PyType_Slot slots[] = {
      {Py_tp_iter, reinterpret_cast<void*>(iterate)},
      {0, nullptr},
  };
  nb::class_<Reader> column(m, "Column", nb::type_slots(slots));
  column
      .def("__init__", &make, nb::arg("kind"), nb::arg("path"), nb::arg("rows") = 0,
           nb::arg("files") = nb::dict(), nb::arg("unit") = 1, nb::arg("dtype").none() = nb::none(),
           nb::arg("shape") = nb::make_tuple(), nb::arg("strides") = nb::make_tuple(),
           nb::arg("shape_form") = static_cast<int>(ShapeForm::flat), nb::arg("shape_width") = 0,
           nb::arg("codec").none() = nb::none(), nb::arg("wrapper").none() = nb::none(),
           nb::arg("edits").none() = nb::none(), nb::arg("copies") = false, nb::arg("mapped") = true)
      .def_static("of_records", &of_records, nb::arg("path"), nb::arg("columns"), nb::kw_only(),
                  nb::arg("edits").none() = nb::none(), nb::arg("copies") = false, nb::arg("mapped") = true)
      .def_static("joined", &joined, nb::arg("kind"), nb::arg("path"), nb::arg("counts"), nb::arg("open"),
                  nb::kw_only(), nb::arg("unit") = 1, nb::arg("dtype").none() = nb::none(),
                  nb::arg("shape") = nb::make_tuple(),
                  nb::arg("shape_form") = static_cast<int>(ShapeForm::flat), nb::arg("shape_width") = 0,
                  nb::arg("nullable") = false)
      .def("selected_range", &selected_range)
      .def("selected", &selected)
      .def("field", &field)
      .def("unwrapped", [](const Reader& self) { return Reader{made(unwrapped(*self.column))}; })
      .def("fresh", [](const Reader& self) { return Reader{fresh(self.column)}; })
      .def("__len__", [](const Reader& self) { return self.column->rows.count(); })
      .def_prop_ro("kind", [](const Reader& self) { return name_of(self.column->kind); })
      .def_prop_ro("is_mapped", [](const Reader& self) { return self.column->access == Access::map; })
      .def_prop_ro("dtype", [](const Reader& self) { return self.column->layout->dtype; })
      .def_prop_ro("rank", &rank_of_all)
      .def_prop_ro("sample_shape", &sample_shape);
  define_cold(column);
  define_takes(column);
  define_tables(column);
  define_windows(column);
}

}  // namespace mmap_ninja
